"""Reports of rate and distortion: an HTML page, plots, Markdown and a summary in JSON."""

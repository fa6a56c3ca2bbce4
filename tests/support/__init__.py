"""What several tests share: tiny networks, streams in pieces, damaged and odd files, an independent decoder."""

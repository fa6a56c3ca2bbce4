"""``python -m vqcodec``: the same program as the ``vqcodec`` command."""

from vqcodec.cli.main import main

if __name__ == "__main__":
    main(prog_name="vqcodec")

"""`python -m ops.cli`: the command line, without an installed script."""

from ops.cli import main

if __name__ == "__main__":
    main(prog_name="danepipe")

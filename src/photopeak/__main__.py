"""``python -m photopeak``: the command line."""

from photopeak.cli import main

if __name__ == "__main__":
    main()

"""`python -m cd4ml.serving.page`."""

from cd4ml.serving.page.server import main

if __name__ == "__main__":
    raise SystemExit(main())

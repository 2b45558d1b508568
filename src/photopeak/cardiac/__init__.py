"""The heart: its axes, the left ventricle in an image, polar maps and the 17 segments."""

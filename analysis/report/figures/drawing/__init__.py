"""What the figures share: style, panels, labels, SVG and files."""

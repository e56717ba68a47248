"""The plot and the page of a comparison."""

"""What is fast, against what: ratios measured in one run on one machine. Not part of the product."""

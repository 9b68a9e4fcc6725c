"""Networks: built, given weights, trained in parts, evaluated."""

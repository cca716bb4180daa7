"""The networks of the paper's Tables 5-8."""

"""The networks of Tables 5-8 of the paper."""

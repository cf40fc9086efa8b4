"""Training of `wine_quality`: from the CSV file to a new version, as one trace."""

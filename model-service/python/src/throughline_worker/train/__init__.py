"""Training of `wine_quality`: from the CSV file to a whole version in the model repository, as one trace."""

"""The report: results and artifacts of a suite to one HTML file that opens from disk."""

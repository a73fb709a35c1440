"""Data: records, the catalogue of sources, formats, collections, bitext. No torch."""

"""Token embeddings for words and subwords of the query language, estimated from bitext."""

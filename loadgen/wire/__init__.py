"""Wire formats as bytes: nothing here knows what is sent, only how it is laid out."""

"""The network model in CIM terms: compiled arrays, loaders and topology."""

"""The price catalog: snapshot, build, query, history, publication."""

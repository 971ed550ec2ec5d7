"""Where it runs: storage, readers and one module per engine, all with the same verbs."""

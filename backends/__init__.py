"""Makes tokens: one class per runtime, each in a worker process of its own. Import-free on purpose (see `backends.worker`)."""

"""The walk of a message: `intake` and `routing` bring it into the spool, a `runner` for each sink brings it to the service.

The loop of a runner gathers a batch (`batching`) and writes it until every message is settled (`delivery`, with `attempts` and
`outcome`), as often as `rate` and as many at once as `concurrency` allow; `status` holds its counts.
"""

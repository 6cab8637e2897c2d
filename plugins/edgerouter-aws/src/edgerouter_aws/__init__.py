"""Amazon Web Services for edgerouter: SQS, S3 and Secrets Manager. Import a module of it only when it is configured."""

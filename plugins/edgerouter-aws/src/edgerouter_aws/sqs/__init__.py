"""Amazon SQS: the sink and the source aws-sqs."""

"""Amazon S3: the sink aws-s3, and the bucket that the claim check of aws-sqs shares with it."""

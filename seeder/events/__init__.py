"""What S3 tells of its own accord: a hint that an object has come, changed or gone.

In: messages of SQS, and requests to webhooks. Out: news of objects, told to whoever keeps them
published (`feed.Hearer`), who asks S3 about them sooner than it would have been asked anyway.
Nothing depends on them: they may be late, twice, in any order, lost or forged.

The doors are `webhooks.Webhooks`, which answers POST /events/NAME, and `queues.QueueReader`.
"""

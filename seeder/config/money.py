"""[savings] and [budget]: what traffic costs, and what may be spent."""

from seeder.config.fields import (
    ByteLimit,
    Currency,
    MoneyLimit,
    Price,
    PriceByVolume,
    RequestLimit,
    Settings,
)


class SavingsSettings(Settings):
    """[savings]: what the origin charges, in any currency; a GB is 2^30 bytes, as S3 bills it."""

    price_per_gb: PriceByVolume = 0.09
    """One price, or each with the bytes of a calendar month (UTC) from which on it holds."""
    price_per_1000_requests: Price = 0.0004
    currency: Currency = ""
    """What amounts of money are shown with."""


class BudgetSettings(Settings):
    """[budget]: what a day and a month (UTC) may cost; None sets no limit.

    Money is counted at the prices of [savings]: origin bytes and requests, or uploaded bytes.
    """

    origin_bytes_per_day: ByteLimit = None
    origin_bytes_per_month: ByteLimit = None
    origin_requests_per_day: RequestLimit = None
    origin_requests_per_month: RequestLimit = None
    origin_money_per_day: MoneyLimit = None
    origin_money_per_month: MoneyLimit = None
    uploaded_bytes_per_day: ByteLimit = None
    uploaded_bytes_per_month: ByteLimit = None
    uploaded_money_per_day: MoneyLimit = None
    uploaded_money_per_month: MoneyLimit = None

    def amounts(self) -> dict[str, float | None]:
        """Return every key with its amount."""
        return {name: getattr(self, name) for name in type(self).model_fields}

"""What is shown of URLs has no key in it, and is still good to know them by."""

import pytest

from seeder.commands.masking import mask_of

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://t.example.org/announce/{KEY}", "https://t.example.org/announce/..."),
        (f"https://t.example.org/announce/%30{KEY}", "https://t.example.org/announce/..."),
        (f"https://t.example.org/{KEY}/announce", "https://t.example.org/.../announce"),
        (f"https://t.example.org/{KEY}/announce.php", "https://t.example.org/.../announce.php"),
        (f"https://t.example.org/tracker/{KEY}/scrape", "https://t.example.org/tracker/.../scrape"),
        (
            f"https://t.example.org/announce?passkey={KEY}&x=1",
            "https://t.example.org/announce?passkey=...&x=1",
        ),
        (f"https://t.example.org/-/{KEY}/b/Nelson", "https://t.example.org/-/.../b/Nelson"),
        ("https://alice:pass@t.example.org/x", "https://...t.example.org/x"),
        ("https://t.example.org:6969/announce", "https://t.example.org:6969/announce"),
        (
            "https://t.example.org/quotes/Nelson-0123456789?torrent",
            "https://t.example.org/quotes/Nelson-0123456789?torrent",
        ),
        (f"http://[{KEY}/announce", f"http://[{KEY}/announce"),
        ("http://[::1]:6969/announce", "http://[::1]:6969/announce"),
    ],
)
def test_a_url_is_shown_without_its_keys(url: str, shown: str) -> None:
    assert mask_of([url])(f"tracker {url}: no") == f"tracker {shown}: no"


@pytest.mark.parametrize("said", [KEY, KEY.upper(), f"{KEY}{KEY}", f"key={KEY}."])
def test_what_repeats_a_key_is_masked_however_it_is_spelled(said: str) -> None:
    mask = mask_of([f"https://t.example.org/announce/{KEY[:-1]}%66"])
    assert KEY not in mask(f"refuses: {said} is banned").lower()
    assert mask("refuses: banned") == "refuses: banned"

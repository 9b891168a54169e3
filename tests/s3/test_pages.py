"""Pages of HTML where S3 was asked: the line names the likely cause."""

import pytest

from seeder.errors import AccessDenied, ObjectMissing, OriginError, OriginFault, OriginUnreachable
from seeder.s3.answers import Answer, Asked, refusal
from seeder.torrent.objects import ObjectRef
from tests.s3.fault_server import FaultServer, answer
from tests.s3.support import CountingMeter, MakeOrigin

ASKED = Asked("b/k", "s3.example.org")
REF = ObjectRef("default", "bucket", "key")
PORTAL = b"<!DOCTYPE html>\n<html><head><title>Welcome to\n  Hotel WiFi</title></head></html>"


def page(title: str) -> bytes:
    return f"<html>\r\n<head><title>{title}</title></head>\r\n<body>...</body></html>".encode()


CASES: dict[str, tuple[int, dict[str, str], bytes, type[OriginError], str]] = {
    "nginx can't reach S3": (
        *(502, {"server": "nginx/1.24.0"}, page("502 Bad Gateway"), OriginUnreachable),
        'answers 502 with a page of HTML ("502 Bad Gateway", nginx/1.24.0): a proxy before S3'
        " can't reach it",
    ),
    "nginx waits too long": (504, {}, page("504 Gateway Time-out"), OriginUnreachable, "a proxy"),
    "HAProxy has no server": (
        *(503, {}, page("503 Service Unavailable"), OriginUnreachable, "a proxy before S3"),
    ),
    "nginx has a limit": (
        *(413, {}, page("413 Request Entity Too Large"), OriginFault, "raise its limits"),
    ),
    "long headers": (431, {}, page("431"), OriginFault, "raise its limits"),
    "TLS is wanted": (
        *(400, {"server": "nginx"}, page("400 The plain HTTP request was sent to HTTPS port")),
        *(OriginFault, "begin endpoint with https://"),
    ),
    "a proxy wants a login": (
        *(
            407,
            {},
            page("ERR_ACCESS_DENIED"),
            OriginFault,
            "a proxy on the way wants a login",
        ),
    ),
    "a company's firewall": (
        *(
            403,
            {},
            page("Web Page Blocked!"),
            AccessDenied,
            "or a firewall; let this machine",
        ),
    ),
    "Cloudflare asks for a human": (
        *(403, {"server": "cloudflare"}, page("Just a moment..."), AccessDenied, "for a robot"),
    ),
    "Cloudflare says so itself": (
        *(403, {"cf-mitigated": "challenge"}, page(""), AccessDenied, "takes this machine for a"),
    ),
    "Cloudflare has no server": (
        *(522, {"server": "cloudflare"}, page("522: timed out"), OriginUnreachable, "a proxy"),
    ),
    "a network's login": (511, {}, PORTAL, OriginFault, "captive portal"),
    "a login page elsewhere": (
        *(302, {"location": "http://login.example/"}, PORTAL, OriginFault, "captive portal"),
    ),
    "a web server": (404, {"server": "Apache"}, page("404 Not Found"), OriginFault, "is no S3"),
    "a web server's error": (400, {}, page("Bad Request"), OriginFault, "check endpoint"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_page_of_html_is_told_from_s3s_answers(case: str) -> None:
    status, headers, body, error, said = CASES[case]
    failure = refusal(Answer.read(status, headers, body), ASKED)
    assert type(failure) is error
    text = str(failure)
    assert said in text
    assert text.isprintable()
    # What only S3 could say isn't said.
    assert "allow s3:" not in text
    assert "SSE-C" not in text


def test_a_page_is_known_by_its_type_where_there_is_no_body() -> None:
    told = {"content-type": "text/html; charset=utf-8", "server": "nginx"}
    assert "a page of HTML (nginx): a proxy before S3" in str(Answer.read(502, told))


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>",
        b"<html><body><h1>404</h1><ul><li>Code: NoSuchKey</li></ul></body></html>",
    ],
    ids=["XML that is called HTML", "a bucket that is a website"],
)
def test_what_s3_says_in_html_counts(body: bytes) -> None:
    failure = refusal(Answer.read(404, {"content-type": "text/html"}, body), ASKED)
    assert type(failure) is ObjectMissing
    assert "page of HTML" not in str(failure)


def test_a_sidecar_that_a_web_server_does_not_have_is_not_there() -> None:
    answered = Answer.read(404, {}, page("404 Not Found"))
    assert type(refusal(answered, Asked("b/k", "h", sidecar=True))) is ObjectMissing


async def test_a_login_page_that_answers_everything_is_named(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    faults.default = answer(200, PORTAL, content_type="text/html")
    with pytest.raises(OriginFault, match=r"without an ETag .*captive portal"):
        await origin.head(REF, meter)
    with pytest.raises(OriginFault, match=r"bucket/key: the answer is a page of HTML: .*portal"):
        await origin.list_page(REF, None, meter)

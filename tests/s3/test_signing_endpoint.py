"""Which server, path and signing scope a bucket gets."""

import pytest
from botocore.loaders import create_loader

from seeder.errors import OriginError
from seeder.s3.signing import Endpoint, EndpointRules


@pytest.fixture(scope="module")
def rules() -> EndpointRules:
    loader = create_loader()
    return EndpointRules(
        loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
    )


def resolve(
    rules: EndpointRules,
    bucket: str = "quotes",
    *,
    region: str = "us-east-1",
    endpoint: str | None = None,
    path_style: bool = False,
) -> Endpoint:
    return rules.resolve(bucket, region=region, endpoint=endpoint, path_style=path_style)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "quotes.s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "quotes.s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "quotes.s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_without_an_endpoint_it_is_aws_by_region(
    rules: EndpointRules, region: str, host: str
) -> None:
    assert resolve(rules, region=region) == Endpoint(f"https://{host}", host, "", region)


def test_a_custom_endpoint_has_virtual_hosts_unless_path_style_is_set(
    rules: EndpointRules,
) -> None:
    virtual = resolve(rules, endpoint="https://s3.example.org:8443")
    path = resolve(rules, endpoint="https://s3.example.org:8443", path_style=True)
    assert (virtual.url, virtual.host) == (
        "https://quotes.s3.example.org:8443",
        "quotes.s3.example.org:8443",
    )
    assert virtual.virtual_host
    assert (path.host, path.path) == ("s3.example.org:8443", "/quotes")
    assert not path.virtual_host


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "[::1]:9000", "192.0.2.1"])
def test_an_ip_address_has_no_virtual_hosts(rules: EndpointRules, host: str) -> None:
    found = resolve(rules, endpoint=f"http://{host}")
    assert (found.url, found.host, found.path) == (f"http://{host}", host, "/quotes")


@pytest.mark.parametrize(
    ("bucket", "path"),
    [
        ("Quotes", "/Quotes"),
        ("under_score", "/under_score"),
        ("tenant:bucket", "/tenant%3Abucket"),
        ("q" * 64, "/" + "q" * 64),
        ("dots.in.name", "/dots.in.name"),
    ],
)
def test_a_bucket_that_is_no_dns_label_goes_into_the_path(
    rules: EndpointRules, bucket: str, path: str
) -> None:
    for endpoint in (None, "https://s3.example.org"):
        assert resolve(rules, bucket, endpoint=endpoint).path == path


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://s3.example.org:443", "s3.example.org"),
        ("http://s3.example.org:80", "s3.example.org"),
        ("http://s3.example.org:443", "s3.example.org:443"),
    ],
)
def test_a_default_port_is_left_out_of_the_host_header(
    rules: EndpointRules, endpoint: str, host: str
) -> None:
    assert resolve(rules, endpoint=endpoint, path_style=True).host == host


def test_an_access_point_is_signed_for_its_own_region(rules: EndpointRules) -> None:
    found = resolve(rules, "arn:aws:s3:us-west-2:123456789012:accesspoint:ap")
    assert found.host == "ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    assert (found.path, found.region) == ("", "us-west-2")


@pytest.mark.parametrize(
    ("bucket", "region", "problem"),
    [
        ("quotes", "no region", "no region"),
        ("quotes", "evil.example/", "region"),
        ("b--use1-az4--x-s3", "us-east-1", "sigv4-s3express"),
        ("arn:aws:s3::123456789012:accesspoint:a.mrap", "us-east-1", "sigv4a"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_one_line(
    rules: EndpointRules, bucket: str, region: str, problem: str
) -> None:
    with pytest.raises(OriginError, match=problem) as caught:
        resolve(rules, bucket, region=region)
    assert "\n" not in str(caught.value)

"""Reading mailboxes: what RFC 5321 and RFC 6531 allow, and sentences for what they do not."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.accept.address import AddressError, parse_address
from stages.message import Address


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("user@example.com", "user", "example.com"),
        ("User.Name+tag@Example.COM", "User.Name+tag", "example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com"),
        ('"a b"@example.com', "a b", "example.com"),
        (r'"a\"b@c\\d"@example.com', 'a"b@c\\d', "example.com"),
        ('""@example.com', "", "example.com"),
        ("user@[192.0.2.1]", "user", "[192.0.2.1]"),
        ("user@[IPv6:2001:DB8:0::1]", "user", "[IPv6:2001:db8::1]"),
        ("user@bücher.example", "user", "xn--bcher-kva.example"),
        ("user@faß.example", "user", "xn--fa-hia.example"),
        ("用户@例え.テスト", "用户", "xn--r8jz45g.xn--zckzah"),
        ("user@exa_mple.example", "user", "exa_mple.example"),
        ("l" * 64 + "@example.com", "l" * 64, "example.com"),
    ],
)
def test_mailboxes_are_read(text: str, local: str, domain: str) -> None:
    """SUB-20 (RFC 5321 2.4, 4.1.2, RFC 6531 3.3): the local part is kept, the domain is lower-case A-labels."""
    assert parse_address(text) == Address(local, domain, text)


@pytest.mark.parametrize(
    ("text", "says", "status"),
    [
        ("", "has no domain", "5.1.3"),
        ("user", "expected something like user@example.com", "5.1.3"),
        ("@example.com", "is no local part", "5.1.3"),
        ("a@@b.example", "is no local part", "5.1.3"),
        (".a@example.com", "is no local part", "5.1.3"),
        ("a..b@example.com", "is no local part", "5.1.3"),
        ("a b@example.com", "is no local part", "5.1.3"),
        ("a\r\nb@example.com", "is no local part", "5.1.3"),
        ("a\x85b@example.com", "is no local part", "5.1.3"),
        ('"a@example.com', "quoted local part does not end", "5.1.3"),
        ('"a"b@example.com', "quoted local part does not end", "5.1.3"),
        ('"a\nb"@example.com', "quoted local part does not end", "5.1.3"),
        ("l" * 65 + "@example.com", "longer than 64 octets", "5.1.3"),
        ("ü" * 33 + "@example.com", "longer than 64 octets", "5.1.3"),
        ("a@" + "d" * 60 + ".example" * 30, "longer than the 254 octets", "5.1.3"),
        ("a@", "is no domain name", "5.1.2"),
        ("a@host", "is not fully qualified", "5.1.2"),
        ("a@example..com", "is no domain name", "5.1.2"),
        ("a@-x.example", "is no domain name", "5.1.2"),
        ("a@" + "d" * 64 + ".example", "is no domain name", "5.1.2"),
        ("a@exam ple.com", "is no domain name", "5.1.2"),
        ("a@example.com\r\n", "is no domain name", "5.1.2"),
        ("a@ü..example", "is no domain name", "5.1.2"),
        ("a@192.0.2.1", "write an address as a literal", "5.1.2"),
        ("a@[192.0.2.300]", "is no address literal", "5.1.3"),
        ("a@[2001:db8::1]", "expected [192.0.2.1] or [IPv6:2001:db8::1]", "5.1.3"),
        ("a@[192.0.2.1", "is no address literal", "5.1.3"),
        ("a@[IPv6:fe80::1%x>\r\nDATA]", "is no address literal", "5.1.3"),
        ("a\udcff@example.com", "is not valid UTF-8", "5.6.7"),
    ],
)
def test_bad_addresses_are_named_with_what_would_be_right(text: str, says: str, status: str) -> None:
    """SUB-03, SUB-05, SUB-20 (RFC 6409 4.2, 5.1): each fault has its sentence, which names the address, and its status."""
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert says in str(caught.value)
    assert repr(text)[1:30] in str(caught.value)
    assert caught.value.status == status


@pytest.mark.parametrize("text", ["é@example.com", "a@bücher.example"])
def test_utf8_addresses_need_smtputf8(text: str) -> None:
    """SUB-27 (RFC 6531 3.5): an address that is not ASCII is refused with 5.6.7 where SMTPUTF8 was not asked for."""
    with pytest.raises(AddressError) as caught:
        parse_address(text, smtputf8=False)
    assert caught.value.status == "5.6.7"
    assert parse_address(text).text == text


def test_the_root_dot_is_dropped() -> None:
    """A path has no final dot (RFC 5321 4.1.2); one that is given names the same domain, and is not sent on."""
    assert parse_address("a@example.com.") == Address("a", "example.com", "a@example.com")


@given(st.text(max_size=80) | st.text(alphabet='ab@."\\[]:%ü \r\n0159', max_size=40))
@example("a@[IPv6:::1]")
@example("a\ud800@example.com")
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    """SUB-05: no text breaks the reader, and no address that it gives can end a line or a path on the wire."""
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert not set("\r\n\0") & set(address.text + address.domain)
    assert not set("<> ") & set(address.domain)
    assert parse_address(address.text) == address


ATOMS = st.text(alphabet=string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=20)


@given(
    st.lists(ATOMS, min_size=1, max_size=3),
    st.lists(st.text(string.ascii_lowercase, min_size=1), min_size=2, max_size=4),
)
def test_every_dot_string_is_taken_as_it_is(atoms: list[str], labels: list[str]) -> None:
    """SUB-20 (RFC 5321 2.4, 4.1.2): a dot-string within the limits is accepted and its local part never changed."""
    local, domain = ".".join(atoms), ".".join(label[:63] for label in labels)
    if len(local) <= 64 and len(local) + len(domain) < 254:
        assert parse_address(f"{local}@{domain}") == Address(local, domain, f"{local}@{domain}")

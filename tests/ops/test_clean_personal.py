"""Personal data are masked, and numbers that only look like them are not."""

from __future__ import annotations

import random

import pytest
from ops import run

from polymodal.core.errors import BadArgument

pytest.importorskip("stdnum")
pytest.importorskip("phonenumbers")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe+x@mail.example.org now", "write to [mail] now"),
        ("o'brien@example.com, 'jane@example.com'.", "[mail], [mail]'."),
        ("邮箱jane@example.com请回复", "邮箱[mail]请回复"),
        ("call +44 20 7946 0958 or (415) 555-2671", "call [phone] or [phone]"),
        ("+44 (0)20 7946 0958; 415 555 2671; +86 138 1234 5678", "[phone]; [phone]; [phone]"),
        ("+33 1 23 45 67 89, +91-98765-43210", "[phone], [phone]"),
        ("手机13812345678。", "手机[phone]。"),
        ("card 4111 1111 1111 1111 please", "card [card] please"),
        ("2 cards: 2 4111 1111 1111 1111 123", "2 cards: 2 [card] 123"),
        ("3782 822463 10005 and 30569309025904", "[card] and [card]"),
        ("IBAN GB82 WEST 1234 5698 7654 32.", "IBAN [account]."),
        ("BE68 5390 0754 7034 BIC GEBABEBB", "[account] BIC GEBABEBB"),
        ("gb82west12345698765432", "[account]"),
        ("ssn 123-45-6789", "ssn [social]"),
        ("from 192.168.1.254", "from [address]"),
    ],
)
def test_personal_data_are_masked(text, masked):
    assert run("personal", [text])[0] == [masked]


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112", "IBAN GB82 WEST 1234 5698 7654 33", "ssn 000-12-3456", "id 110105194912310021",
        "version 1.2.3", "version 10.0.19.1", "pi is 3.14159265358979", "on 2024-01-31 at 10:30", "it costs 1,234.50",
        "a@b", "@home", "ISBN 978-0-306-40615-7", "ISBN 9780306406157", "EAN 5901234123457", "1700000000000 ms",
        "from 2024-01-31 to 2024-02-28", "2024-01-31 10:30:45.123456", "1,234,567.89 USD", "part 123-456-7890",
        "ref 12345678-1234-1234-1234-123456789012", "52.520008, 13.404954", "20240131123045", "10.1.2024-11.2.2024",
        "doi 10.1038/s41586-020-2649-2", "5+10 345 678 901",
    ],
)  # fmt: skip
def test_what_only_looks_like_them_stays(text):
    assert run("personal", [text])[0] == [text]


NATIONAL = [  # as their offices publish them in examples, and with one sign changed
    ("China", "11010519491231002X", "110105194912310021"), ("Italy", "RCCMNL83S18D969H", "RCCMNL83S18D969A"),
    ("Mexico", "BOXW310820HNERXN09", "BOXW310820HNERXN08"), ("Spain", "54362315K", "54362315L"),
    ("Spain", "X-2482300W", "X-2482300A"), ("France", "2 95 10 99 126 111 93", "2 95 10 99 126 111 92"),
    ("Finland", "131052-308T", "131052-308U"), ("Sweden", "880320-0016", "880320-0018"),
    ("Switzerland", "756.9217.0769.85", "756.9217.0769.84"), ("Brazil", "390.533.447-05", "390.533.447-06"),
    ("Germany", "36 574 261 809", "36 574 261 808"), ("India", "2341 2341 2346", "2341 2341 2347"),
    ("Britain", "AB 12 34 56 C", "QQ 12 34 56 C"),
]  # fmt: skip


@pytest.mark.parametrize(("country", "number", "wrong"), NATIONAL)
def test_national_numbers_by_their_checks(country, number, wrong):
    assert run("personal", [f"no. {number}, {wrong}", f"号{number}号"])[0] == [
        f"no. [national], {wrong}",
        "号[national]号",
    ]


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("PESEL", "44051401359"), ("BSN", "111222333"), ("Steuer-ID", "36574261809"), ("CPF", "39053344705"),
        ("NHS number", "9434765870"), ("Aadhaar", "234123412346"), ("NI number", "AB123456C"),
    ],
)  # fmt: skip
def test_mere_digits_need_the_word_that_announces_them(word, number):
    alone, announced = run("personal", [f"item {number}", f"my {word}: {number}"])[0]
    assert alone == f"item {number}"
    assert announced == f"my {word}: [national]"


def test_what_is_masked_can_be_chosen():
    assert run({"personal": {"what": ["mail"]}}, ["a@b.org 123-45-6789"])[0] == ["[mail] 123-45-6789"]
    with pytest.raises(BadArgument, match="Unknown kind of personal data 'email'"):
        run({"personal": {"what": ["email"]}}, ["a"])


def test_phones_as_a_region_writes_them():
    texts = ["call 020 7946 0958", "Tel. 030/1234567", "in 1999"]
    assert run("personal", texts)[0] == texts
    masked = ["call [phone]", "Tel. [phone]", "in 1999"]
    assert run({"personal": {"regions": ["GB", "DE"]}}, texts)[0] == masked
    with pytest.raises(BadArgument, match="Unknown region 'UK'"):
        run({"personal": {"regions": ["UK"]}}, texts)


def test_no_text_makes_a_check_stumble():
    rng = random.Random(0)
    numbers = [str(rng.randrange(10 ** (n - 1), 10**n)) for n in range(5, 25) for _ in range(60)]
    noise = ["".join(rng.choices("0123456789 -./+()ABXYZabc@名", k=30)) for _ in range(800)]
    after, aside = run("personal", numbers + noise)
    assert not aside
    touched = sum(a != b for a, b in zip(numbers, after))
    assert touched < 0.05 * len(numbers), "of mere digits few are anything"

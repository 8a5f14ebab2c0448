# SPDX-License-Identifier: Apache-2.0
"""The mock provider: what those need who test their clients, and that nobody takes it for a real
one."""

import time

import pytest
from test_http import Api

INVALID, STATE, UNAVAILABLE = 3, 6, 7  # exit statuses


@pytest.fixture
def api(varved):
    """varved with a provider "m", mock, and its settings."""

    def start(*settings):
        lines = "\n".join(["[pool m]", "driver = mock", "pretend = true", *settings])
        return Api(varved(config=lines + "\n"))

    return start


def volumes(api):
    return {volume["id"]: volume for volume in api("GET", "/storage/volumes").json}


def test_behaves_like_a_provider(api):
    one = api()
    one("POST", "/storage/providers/m/volumes", {"id": "v", "meta": {"a": "b"}, "size": 4096})
    one("PUT", "/storage/volumes/v/snapshot", {"id": "s"})
    one("PUT", "/storage/volumes/s/fork", {"id": "f"})
    found = volumes(one)
    assert set(found) == {"v", "s", "f"} and found["v"]["driver"] == "mock"
    for name in "f", "v", "s":
        one("DELETE", f"/storage/volumes/{name}")
    assert volumes(one) == {}


@pytest.mark.parametrize(
    "fail, code, status",
    [
        ("create:no-space", "no_space", 507),
        ("create:unavailable", "service_unavailable", 503),
        ("snapshot:no-space", "no_space", 507),
        ("fork:permission-denied", "forbidden", 403),
        ("mount:internal", "unknown_error", 500),
        ("size:not-implemented", "not_implemented", 501),
    ],
)
def test_fails_as_told(api, fail, code, status):
    one = api(f"fail = {fail}")
    create = ("POST", "/storage/providers/m/volumes", {"id": "v", "size": 4096})
    if fail.split(":")[0] in ("create", "mount", "size"):
        answer = one(*create, status=status)
        assert volumes(one) == {}
    else:
        one(*create)
        verb, of = ("fork", "s") if fail.startswith("fork") else ("snapshot", "v")
        if verb == "fork":
            one("PUT", "/storage/volumes/v/snapshot", {"id": "s"})
        before = volumes(one)
        answer = one("PUT", f"/storage/volumes/{of}/{verb}", {"id": "new"}, status)
        assert volumes(one) == before
    assert answer.json["code"] == code and "the mock was told to fail here" in answer.json["message"]


def test_takes_its_time(api):
    one = api("delay = create:300,snapshot:10")
    begin = time.monotonic()
    one("POST", "/storage/providers/m/volumes", {"id": "v"})
    assert time.monotonic() - begin >= 0.3


@pytest.mark.parametrize(
    "settings, status, why",
    [
        ([], STATE, "for tests of clients only"),
        (["pretend=false"], STATE, "for tests of clients only"),
        (["pretend=true", "fail=fly:busy"], INVALID, "'fly:busy' does not begin with create"),
        (["pretend=true", "fail=create"], INVALID, "'create' does not begin with"),
        (["pretend=true", "fail=create:sadness"], INVALID, "no error is called 'sadness'"),
        (["pretend=true", "delay=create:-1"], INVALID, "no number of milliseconds"),
        (["pretend=true", "delay=create:60001"], INVALID, "no number of milliseconds"),
    ],
)
def test_refused(varve, settings, status, why):
    options = [word for setting in settings for word in ("--set", setting)]
    said = varve("pool", "create", "m", "--driver", "mock", *options, status=status).stderr
    assert why in said
    assert varve.json("pool", "ls") == []


def test_not_taken_by_accident(varve):
    varve("pool", "create", "m", "--driver", "mock", "--set", "pretend=true")
    made = varve("volume", "create", "v")
    assert "this pool is a mock" in made.stderr
    assert varve.json("pool", "create", "real")["driver"] != "mock"

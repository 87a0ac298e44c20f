from gaga.core.progress import Meter


def test_it_adds_up_and_starts_anew_what_is_expected():
    seen = []
    meter = Meter(lambda *report: seen.append(report), 10)
    meter(3)
    meter.expect(20, "100 of 300 molecules")
    meter(5)
    assert seen == [(3, 10), (8, 23, "100 of 300 molecules")]

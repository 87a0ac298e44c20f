import os
from concurrent.futures import ThreadPoolExecutor

from gaga.base.quiet import no_output


def test_what_is_written_below_python_goes_nowhere_and_what_follows_does_not(capfd):
    with no_output():
        os.write(1, b"noise\n")
    os.write(1, b"result\n")
    assert capfd.readouterr().out == "result\n"


def test_threads_leave_the_output_as_it_was(capfd):
    def noise(_):
        with no_output():
            os.write(1, b"noise\n")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(noise, range(200)))
    os.write(1, b"result\n")
    assert capfd.readouterr().out == "result\n"

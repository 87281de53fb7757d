"""The line for whoever waits."""

import time

from realmat.support.notice import notice


def test_says_its_line_where_the_wait_is_long(capsys):
    with notice("patience", after=0.01):
        time.sleep(0.2)
    assert capsys.readouterr().err == "patience\n"


def test_is_silent_where_it_is_short(capsys):
    with notice("patience", after=30.0):
        pass
    assert capsys.readouterr().err == ""

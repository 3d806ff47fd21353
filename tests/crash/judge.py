#!/usr/bin/env python3
"""The judge of the store (store_world.py) itself: journals, what is there afterwards, and
whether it complains."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from store_world import World  # noqa: E402

SENT, ANSWERED = ['D', 1, [9], 30], ['d', 1, 9]
SHOWN = ['S', 9, 'INBOX', 1, 5, {'12': [30, 4]}]
EXPUNGED = [['B', 9, 'expunge', 'INBOX', [12]], ['E', 9, {}]]
AGAIN = ['V', 9, {'INBOX': [1, {}]}]
THERE, GONE = {12: (30, 0)}, {}
SEEN = {12: (30, 4)}

# (what it is, journal, rows of the INBOX, whether that is right)
CASES = (
    ('answered, there', [SENT, ANSWERED], THERE, True),
    ('answered, gone', [SENT, ANSWERED], GONE, False),
    ('not answered, there', [SENT], THERE, True),
    ('not answered, gone', [SENT], GONE, True),
    ('shown, gone', [SENT, SHOWN], GONE, False),
    ('shown, answered, there', [SENT, SHOWN, ANSWERED], SEEN, True),
    ('expunged, gone', [SENT, ANSWERED, SHOWN, *EXPUNGED], GONE, True),
    ('expunged before the answer, gone', [SENT, SHOWN, *EXPUNGED, ANSWERED], GONE, True),
    ('expunged before the answer, back', [SENT, SHOWN, *EXPUNGED], SEEN, False),
    ('expunged, then delivered again after a restart', [SENT, SHOWN, *EXPUNGED, AGAIN, ANSWERED], GONE, True),
)


def main():
    failed = 0
    for what, journal, rows, right in CASES:
        world = World()
        for m in journal:
            world.take(json.dumps(m))
        bad = world.judge(9, {'INBOX': (1, 9, rows)})
        if bool(bad) == right:
            failed += 1
            print('%s: %s' % (what, bad or 'no complaint'))
    print('judge: %d journals, %d failed' % (len(CASES), failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

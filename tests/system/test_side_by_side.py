"""Instances beside each other know nothing of each other."""


def test_two_instances(make_house):
    one, two = make_house(), make_house(domain='other.test')
    a, b = one.user('user1'), two.user('user1')
    assert (str(a), str(b)) == ('user1@example.test', 'user1@other.test')
    one.send(a, subject='for one')
    two.send(b, subject='for two')
    one.wait_stored(a, 1)
    two.wait_stored(b, 1)
    assert one.subjects(a) == ['for one'] and two.subjects(b) == ['for two']
    one.stop()
    assert one.run('status', check=False).returncode == 3
    two.send(b, subject='one is down')
    two.wait_stored(b, 2)
    one.start()
    one.send(a, subject='one is back')
    one.wait_stored(a, 2)


def test_a_second_start_of_one_is_refused(house):
    assert house.run('start', check=False).returncode != 0
    user = house.user('user1')
    house.send(user)
    house.wait_stored(user, 1)

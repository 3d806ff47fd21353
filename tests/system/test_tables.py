"""Tables that a server answers for (PostgreSQL, MySQL, LDAP): lookups, keys that bite, servers that
hang, lie, drown us, go away and come back. A table that is down puts mail off, and says so once."""
import pytest

from conftest import wait_for
from tableservers import MariaDB, Postgres, Silent, Slapd, elapsed


@pytest.fixture(scope='module')
def postgres():
    server = Postgres()
    server.sql("""
        CREATE ROLE mail LOGIN PASSWORD 'it''s "secret"';
        CREATE TABLE alias (address text, goto text);
        GRANT SELECT ON alias TO mail;
        INSERT INTO alias VALUES ('info@example.test', 'user1@example.test'),
            ('both@example.test', 'user1@example.test'), ('both@example.test', 'user2@example.test'),
            ('o''hara@example.test', 'user1@example.test'), ('100%@example.test', 'user2@example.test'),
            ('a\\b@example.test', 'user2@example.test');
        INSERT INTO alias SELECT 'many@example.test', 'n' || i || '@example.test' FROM generate_series(1, 2000) i;
        INSERT INTO alias SELECT 'long@example.test', repeat('x', 100000000);
        CREATE FUNCTION slow(t text) RETURNS text AS 'SELECT $1 FROM pg_sleep(20)' LANGUAGE sql;
    """)
    yield server
    server.close()


TABLE = '''
table sql { type pgsql  server "127.0.0.1:%d"  database postgres  user mail  password "it's \\"secret\\""
    query "SELECT goto FROM alias WHERE address = '%%s' ORDER BY goto"  timeout %s  cache-time %s  cache-missing-time %s }
'''


def table(port, timeout='5s', cache='none', missing='none'):
    return TABLE % (port, timeout, cache, missing)


def rcpt(house, address):
    with house.smtp() as s:
        s.ehlo()
        s.mail('someone@elsewhere.test')
        return s.rcpt(address)


def housed(make_house, text, route='route { virtual-aliases sql }'):
    house = make_house(start=False)
    house.add(text + route)
    house.start()
    return house


def lookup(house, key, name='sql'):
    done = house.run('table', 'lookup', name, key, check=False)
    return done.stdout.rstrip('\n') if done.returncode in (0, 1) else 75


def test_postgres(make_house, postgres):
    """Aliases of PostgreSQL route mail; keys are never read as SQL; several rows are several members."""
    house = housed(make_house, table(postgres.port))
    one, two = house.user('user1'), house.user('user2')
    for to in ('info@example.test', 'both@example.test'):
        with house.smtp() as s:
            s.sendmail('someone@elsewhere.test', [to], 'Subject: %s\r\n\r\ntext\r\n' % to)
    house.wait_stored(one, 2)
    house.wait_stored(two, 1)
    assert rcpt(house, 'nobody@example.test')[0] == 550
    assert lookup(house, 'INFO@example.test') == 'user1@example.test'
    assert lookup(house, 'both@example.test') == 'user1@example.test,user2@example.test'
    assert lookup(house, "o'hara@example.test") == 'user1@example.test'
    assert lookup(house, '100%@example.test') == lookup(house, 'a\\b@example.test') == 'user2@example.test'
    for key in ("x' OR '1'='1", "x'; DROP TABLE alias; --", '$1', '%s', 'x\\'):
        assert lookup(house, key) == ''
    assert house.metric('table_questions_total') > 8
    assert house.metric('table_down') == 0


def test_answers_too_large(make_house, postgres):
    """More values, or longer ones, than the limits: the table cannot say, and goes on with other keys."""
    house = housed(make_house, table(postgres.port))
    for key in ('many@example.test', 'long@example.test'):
        assert lookup(house, key) == 75
        code, text = rcpt(house, key)
        assert code == 451 and text.startswith(b'4.3.'), text
    assert lookup(house, 'both@example.test') == 'user1@example.test,user2@example.test'


def test_postgres_gone_and_back(make_house):
    """A server that goes away in the middle: 451, said once, no 'no such user'; back: it works again."""
    server = Postgres()
    try:
        server.sql("CREATE TABLE alias (address text, goto text); CREATE ROLE mail LOGIN PASSWORD 'x';"
                   "GRANT SELECT ON alias TO mail;"
                   "INSERT INTO alias VALUES ('info@example.test', 'user1@example.test')")
        house = housed(make_house, table(server.port).replace('it\'s \\"secret\\"', 'x'))
        house.user('user1')
        assert rcpt(house, 'info@example.test')[0] == 250
        assert rcpt(house, 'nobody@example.test')[0] == 550
        server.stop()
        for _ in range(20):
            code, text = rcpt(house, 'other@example.test')
            assert code == 451 and text.startswith(b'4.3.'), text
        assert rcpt(house, 'nobody@example.test')[0] == 451
        assert len(house.events('table.down')) == 1
        assert house.metric('table_down') == 1
        server.start()
        wait_for('the table to come back', lambda: rcpt(house, 'info@example.test')[0] == 250)
        assert rcpt(house, 'nobody@example.test')[0] == 550
        assert len(house.events('table.up')) == 1
        assert house.metric('table_down') == 0
    finally:
        server.close()


def test_cache(make_house):
    """What was found, and what was not, is remembered for its time, also while the server is away."""
    server = Postgres()
    try:
        server.sql("CREATE TABLE alias (address text, goto text); CREATE ROLE mail LOGIN PASSWORD 'x';"
                   "GRANT SELECT ON alias TO mail;"
                   "INSERT INTO alias VALUES ('info@example.test', 'user1@example.test')")
        text = table(server.port, cache='1h', missing='1h').replace('it\'s \\"secret\\"', 'x')
        house = housed(make_house, text)
        house.user('user1')
        assert rcpt(house, 'info@example.test')[0] == 250
        assert rcpt(house, 'nobody@example.test')[0] == 550
        server.stop()
        assert rcpt(house, 'nobody@example.test')[0] == 550
        assert rcpt(house, 'info@example.test')[0] == 250
        assert rcpt(house, 'other@example.test')[0] == 451
    finally:
        server.close()


@pytest.mark.parametrize('answer,endless', [(b'', False), (b'HTTP/1.1 400 Bad Request\r\n\r\n', False),
                                            (b'R\x7f\xff\xff\xff' + b'\0' * 65536, True)],
                         ids=['silent', 'lies', 'endless'])
def test_bad_server(make_house, answer, endless):
    """A server that says nothing, or nonsense, or without end: a temporary failure within the time given,
    while other mail goes on."""
    server = Silent(answer, endless)
    try:
        house = housed(make_house, table(server.port, timeout='1s'),
                       'route { virtual-aliases sql  alias-domains example.test }\n')
        (code, text), seconds = elapsed(lambda: rcpt(house, 'user1@example.test'))
        assert code == 451 and text.startswith(b'4.3.'), text
        assert seconds < 8
        assert server.connections >= 1
        with house.smtp() as s:
            assert s.noop()[0] == 250
        assert lookup(house, 'x') == 75
    finally:
        server.close()


def test_slow_query(make_house, postgres):
    """A query beyond its time fails, and the server is told to give it up."""
    house = housed(make_house, '''table sql { type pgsql  server "127.0.0.1:1", "127.0.0.1:%d"  user admin
        database postgres  timeout 1s  query "SELECT slow('%%s')" }
        ''' % postgres.port, '')
    got, seconds = elapsed(lambda: lookup(house, 'x'))
    assert got == 75 and seconds < 8
    wait_for('the query to end at the server', lambda: postgres.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow%' AND state = 'active' "
        "AND pid <> pg_backend_pid()") == '0\n')


def test_tabled_dies(make_house, postgres):
    """When tabled is killed, mail is put off for a moment, and then goes on."""
    house = housed(make_house, table(postgres.port))
    house.user('user1')
    assert rcpt(house, 'info@example.test')[0] == 250
    house.kill('tabled')
    assert rcpt(house, 'nobody@example.test')[0] in (451, 550)
    wait_for('tabled to answer again', lambda: rcpt(house, 'info@example.test')[0] == 250)


def test_reload(make_house, postgres):
    """The first such table starts tabled at a reload; without any there is none; mistakes are told."""
    house = make_house()
    assert not house.processes('tabled')
    before = house.config()
    house.config(before + table(postgres.port) + 'route { virtual-aliases sql }\n')
    house.reload()
    house.user('user1')
    wait_for('the table', lambda: rcpt(house, 'info@example.test')[0] == 250)
    house.config(before + 'table sql { type pgsql  query "SELECT 1" }\n')
    done = house.reload(check=False)
    house.config(before)
    assert done.returncode and "table 'sql' needs a server" in done.stdout + done.stderr


MYSQL = '''
table sql { type mysql  server "127.0.0.1:%d"  database mail  user mail  password "it's \\"secret\\""
    query "SELECT goto FROM alias WHERE address = '%%s' ORDER BY goto"  cache-time none  cache-missing-time none }
table parts { type mysql  server "127.0.0.1:%d"  database mail  user mail  password "it's \\"secret\\""
    query "SELECT CONCAT('%%u', ' at ', '%%d'), NULL, \\"<%%s>\\"" }
'''


def test_mysql(make_house):
    """The same by MySQL: routes, keys that bite, answers that are too large, away and back again."""
    server = MariaDB()
    try:
        server.sql("""CREATE DATABASE mail CHARACTER SET utf8mb4; USE mail;
            CREATE TABLE alias (address VARCHAR(200), goto LONGTEXT);
            CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'it\\'s "secret"'; GRANT SELECT ON mail.* TO mail@'127.0.0.1';
            INSERT INTO alias VALUES ('info@example.test', 'user1@example.test'),
                ('both@example.test', 'user1@example.test'), ('both@example.test', 'user2@example.test'),
                ('o\\'hara@example.test', 'user1@example.test'), ('a\\\\b@example.test', 'user2@example.test'),
                ('long@example.test', REPEAT('x', 3000000)), ('longish@example.test', REPEAT('x', 70000));
            INSERT INTO alias SELECT 'many@example.test', seq FROM seq_1_to_2000;""")
        house = housed(make_house, MYSQL % (server.port, server.port))
        house.user('user1')
        house.user('user2')
        assert rcpt(house, 'both@example.test')[0] == 250
        assert rcpt(house, 'nobody@example.test')[0] == 550
        assert lookup(house, 'both@example.test') == 'user1@example.test,user2@example.test'
        assert lookup(house, "o'hara@example.test") == 'user1@example.test'
        assert lookup(house, 'a\\b@example.test') == 'user2@example.test'
        assert lookup(house, 'x@y', 'parts') == 'x at y,<x@y>'
        assert lookup(house, 'no-domain', 'parts') == ''
        for key in ("x' OR '1'='1", "x'; DROP TABLE alias; -- ", '?', 'x\\', "\\' OR 1=1 -- "):
            assert lookup(house, key) == ''
        for key in ('many', 'long', 'longish'):
            assert lookup(house, key + '@example.test') == 75, key
        assert lookup(house, 'info@example.test') == 'user1@example.test'
        server.stop()
        assert rcpt(house, 'nobody@example.test')[0] == 451
        server.start()
        wait_for('the table to come back', lambda: rcpt(house, 'info@example.test')[0] == 250)
        assert rcpt(house, 'nobody@example.test')[0] == 550
    finally:
        server.close()


LDAP = '''
table sql { type ldap  server "127.0.0.1:%d"  user "%s"  password "%s"  base "dc=example,dc=test"
    query "(title=%%s)"  attribute mail  cache-time none  cache-missing-time none }
'''


def test_ldap(make_house):
    """The same by LDAP: several values, filters that keys cannot change, wrong log-in, away and back again."""
    server = Slapd()
    try:
        house = housed(make_house, LDAP % (server.port, 'cn=admin,dc=example,dc=test', 'admin-secret'))
        for name in ('user1', 'user2', 'user3'):
            house.user(name)
        assert rcpt(house, 'both@example.test')[0] == 250
        assert rcpt(house, 'nobody@example.test')[0] == 550
        assert lookup(house, 'info@example.test') == 'user1@example.test'
        assert sorted(lookup(house, 'both@example.test').split(',')) == ['user2@example.test', 'user3@example.test']
        assert lookup(house, '(star*)@example.test') == 'user2@example.test'
        for key in ('*', 'info*', '*)(uid=*', 'info@example.test)(uid=user1', '\\2a'):
            assert lookup(house, key) == ''
        server.stop()
        assert rcpt(house, 'nobody@example.test')[0] == 451
        server.start()
        wait_for('the table to come back', lambda: rcpt(house, 'info@example.test')[0] == 250)
        house.config(house.config().replace('admin-secret', 'wrong'))
        house.reload()
        wait_for('the wrong password to be told', lambda: rcpt(house, 'info@example.test')[0] == 451)
        assert any('credentials' in e['why'] for e in house.events('table.down'))
    finally:
        server.close()


@pytest.mark.parametrize('kind,text', [('mysql', MYSQL), ('ldap', LDAP)])
@pytest.mark.parametrize('answer,endless', [(b'', False), (b'HTTP/1.1 400 Bad Request\r\n\r\n', False),
                                            (b'\x30\x84\x7f\xff\xff\xff\x0a' * 5000, True)],
                         ids=['silent', 'lies', 'endless'])
def test_other_bad_servers(make_house, kind, text, answer, endless):
    """What test_bad_server says, for the other libraries."""
    server = Silent(answer, endless, first=kind == 'mysql')
    try:
        text = text % ((server.port, server.port) if kind == 'mysql' else (server.port, 'cn=x', 'x'))
        house = housed(make_house, text.replace('cache-time none', 'timeout 1s  cache-time none', 1))
        (code, reply), seconds = elapsed(lambda: rcpt(house, 'user1@example.test'))
        assert code == 451 and reply.startswith(b'4.3.'), reply
        assert seconds < 8
        assert lookup(house, 'x') == 75
        assert server.connections >= 1
    finally:
        server.close()

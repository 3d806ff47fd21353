"""What Python's email package finds in the samples of test_report: check_report.py PROGRAM."""
import email
import email.policy
import subprocess
import sys
from email.utils import parsedate_to_datetime

PROGRAM = sys.argv[1]


def sample(name):
    raw = subprocess.run([PROGRAM, name], check=True, stdout=subprocess.PIPE).stdout
    m = email.message_from_bytes(raw, policy=email.policy.default)
    assert m.get_content_type() == "multipart/report", name
    assert m.get_param("report-type") == "delivery-status", name
    assert not m.defects and not any(p.defects for p in m.walk()), (name, m.defects)
    assert m["From"].addresses[0].username == "MAILER-DAEMON", name
    assert parsedate_to_datetime(m["Date"]), name
    eight = any(b > 127 for b in raw)
    assert m["Content-Transfer-Encoding"] == ("8bit" if eight else "7bit"), name
    return m, m.get_payload()


def status(part):
    """The field blocks of a delivery-status part, whichever its type."""
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    inner = part.get_payload()
    text = inner[0].as_bytes() if isinstance(inner, list) else part.get_payload(decode=True)
    blocks = text.decode().replace("\r\n", "\n").strip("\n").split("\n\n")
    return [email.message_from_string(b + "\n", policy=email.policy.default) for b in blocks]


m, parts = sample("failed")
assert [p.get_content_type() for p in parts] == \
    ["text/plain", "message/delivery-status", "message/rfc822"]
assert m["Auto-Submitted"] == "auto-replied" and m["To"].addresses[0].addr_spec == "user1@example.test"
assert m["In-Reply-To"] == m["References"] == "<one@example.test>"
text = parts[0].get_content()
for words in ("user2@example.org", "550 5.1.1 User unknown", "Check the address", "mx.example.org said:",
              "Grüße", "postmaster@mx.example.test"):
    assert words in text, (words, text)
per_message, per_rcpt = status(parts[1])
assert per_message["Reporting-MTA"] == "dns; mx.example.test"
assert per_message["Original-Envelope-Id"] == "env 1"
assert per_message["Received-From-MTA"] == "dns; client.example.test (192.0.2.9)"
assert parsedate_to_datetime(per_message["Arrival-Date"]).timestamp() == 1795500000
assert per_rcpt["Original-Recipient"] == "rfc822; User2@example.org"
assert per_rcpt["Final-Recipient"] == "rfc822; user2@example.org"
assert (per_rcpt["Action"], per_rcpt["Status"]) == ("failed", "5.1.1")
assert per_rcpt["Remote-MTA"] == "dns; mx.example.org"
assert " ".join(per_rcpt["Diagnostic-Code"].split()) == \
    "smtp; 550 5.1.1 User unknown see https://example.org/why"
assert parsedate_to_datetime(per_rcpt["Last-Attempt-Date"]).timestamp() == 1795510000
assert per_rcpt["Will-Retry-Until"] is None
returned = parts[2].get_payload(0)
assert returned["Message-ID"] == "<one@example.test>" and returned.get_payload() == "Hello.\r\n"

for name in ("headers", "large", "requiretls", "delayed", "success", "binary"):
    m, parts = sample(name)
    assert parts[2].get_content_type() == "text/rfc822-headers", name
    assert "Hello" not in parts[2].get_payload() and "lone" not in parts[2].get_payload(), name

m, parts = sample("mixed")
assert m["Subject"] == "Undelivered Mail Returned to Sender"
blocks = status(parts[1])
assert [b["Action"] for b in blocks[1:]] == ["delayed", "failed", "delivered", "relayed"]
assert blocks[3]["Original-Recipient"] == "rfc822; team@example.test"
assert [b["Status"] for b in blocks[1:]] == ["4.3.0", "5.1.1", "2.0.0", "2.0.0"]

m, parts = sample("delayed")
assert m["Subject"].startswith("Delayed") and "no need to send it again" in parts[0].get_content()
assert parsedate_to_datetime(status(parts[1])[1]["Will-Retry-Until"]).timestamp() == 1795900000

m, parts = sample("hostile")
assert len(parts) == 3 and m["X-Evil"] is None
block = status(parts[1])[1]
assert block["X-Evil"] is None and block["X"] is None and block["Original-Recipient"] is None
assert block["Status"] == "5.0.0" and len(status(parts[1])) == 2
assert "\x1b" not in parts[0].get_content() and "\u202e" not in parts[0].get_content()

m, parts = sample("ascii")
assert status(parts[1])[1]["Final-Recipient"] == "utf-8; j\\x{F6}rg@example.org"
assert "jörg@example.org" in parts[0].get_content()

m, parts = sample("global")
assert [p.get_content_type() for p in parts] == \
    ["text/plain", "message/global-delivery-status", "message/global"]
block = status(parts[1])[1]
assert block["Final-Recipient"] == "utf-8; jörg@example.org" == block["Original-Recipient"]
assert "für jörg" in " ".join(block["Diagnostic-Code"].split())

m, parts = sample("globalheaders")
assert parts[2].get_content_type() == "message/global-headers"

m, parts = sample("postmaster")
assert m["Auto-Submitted"] == "auto-generated" and m["To"].addresses[0].addr_spec == "postmaster@mx.example.test"

m, parts = sample("eight")
assert parts[2]["Content-Transfer-Encoding"] == "8bit"
m, parts = sample("noid")
assert m["In-Reply-To"] is None

"""What a user of the `oneclaw` package from PyPI does, unmodified, against this gateway.

Arguments: the gateway's address, an email of nobody yet, a private key with ether on the chain `local`.
Any surprise is an exception, and so an exit code.
"""

import sys
import time

from oneclaw import create_client, types
from walk import as_documented, done, locked_out, password, refused

base, email, private_key = sys.argv[1:]
recipient = "0x00000000000000000000000000000000000c0de0"

# A person signs up, and signs in again later.
ada = create_client(base_url=base)
done(ada.auth.signup(email, password, display_name="Ada"))
ada = create_client(base_url=base)
refused(401, ada.auth.login(email, password + "x"))
done(ada.auth.login(email, password))
assert done(ada.auth.me())["email"] == email

# A vault and secrets.
vault = done(ada.vaults.create("main", description="Of the walk"))["id"]
assert [v["id"] for v in done(ada.vaults.list())["vaults"]] == [vault]
assert as_documented(types.VaultResponse, done(ada.vaults.get(vault))).org_id == done(ada.auth.me())["org_id"]
done(ada.secrets.set(vault, "api/token", "s3cret", type="api_key", metadata={"of": "walk"}))
done(ada.secrets.set(vault, "keys/local-signer", private_key, type="private_key"))
read = done(ada.secrets.get(vault, "api/token"))
assert (read["value"], read["version"], read["metadata"]) == ("s3cret", 1, {"of": "walk"}), read
as_documented(types.SecretResponse, read)
assert done(ada.secrets.rotate(vault, "api/token", "s3cret-2"))["version"] == 2
paths = {as_documented(types.SecretMetadataResponse, s).path for s in done(ada.secrets.list(vault))["secrets"]}
assert paths == {"api/token", "keys/local-signer"}, paths
assert [s["path"] for s in done(ada.secrets.list(vault, prefix="api/"))["secrets"]] == ["api/token"]

# Two agents: one reads, one signs.
made = done(ada.agents.create("reader", description="Reads", scopes=["api/**"]))
reader, reader_key = made["agent"]["id"], made["api_key"]
made = done(ada.agents.create(
    "signer",
    intents_api_enabled=True,
    token_ttl_seconds=600,
    tx_to_allowlist=[recipient],
    tx_max_value_eth="0.5",
    tx_daily_limit_eth="1",
    tx_allowed_chains=["local"],
))
signer, signer_key = made["agent"]["id"], made["api_key"]
assert {a["id"] for a in done(ada.agents.list())["agents"]} == {reader, signer}
assert done(ada.agents.get(signer))["tx_max_value_eth"] == "0.5"
done(ada.agents.update(reader, description="Reads tokens"))

# No policy, no access.
bot = create_client(base_url=base, api_key=reader_key, agent_id=reader)
refused(403, bot.secrets.get(vault, "api/token"))

# Policies: given, changed, taken.
policy = done(ada.policies.create(
    vault, principal_type="agent", principal_id=reader, secret_path_pattern="api/**", permissions=["read"]
))["id"]
done(ada.policies.create(vault, principal_type="agent", principal_id=signer, secret_path_pattern="keys/**", permissions=["read"]))
assert policy in {as_documented(types.PolicyResponse, p).id for p in done(ada.policies.list(vault))["policies"]}
time.sleep(1.1)  # What is known of a principal is a second old at most.
assert done(bot.secrets.get(vault, "api/token"))["value"] == "s3cret-2"
assert done(bot.agents.me())["id"] == reader
refused(403, bot.secrets.set(vault, "api/token", "mine"))
done(ada.policies.update(vault, policy, permissions=["read", "write"]))
time.sleep(1.1)
assert done(bot.secrets.set(vault, "api/token", "theirs"))["version"] == 3
done(ada.policies.delete(vault, policy))
time.sleep(1.1)
refused(403, bot.secrets.get(vault, "api/token"))

# A key alone is enough: the client finds out whose it is from the exchange.
bot = create_client(base_url=base, api_key=signer_key)
assert done(bot.agents.me())["id"] == signer
assert bot.resolved_agent_id == signer, bot.resolved_agent_id
refused(403, bot.secrets.get(vault, "keys/local-signer"))

# Ether moves within the guardrails, once for each idempotency key, and not beyond them.
sent = done(bot.agents.submit_transaction(
    signer, chain="local", to=recipient, value="0.25", simulate_first=True, idempotency_key="walk-1"
))
assert sent["tx_hash"].startswith("0x") and sent["value_wei"] == "250000000000000000", sent
again = done(bot.agents.submit_transaction(
    signer, chain="local", to=recipient, value="0.25", simulate_first=True, idempotency_key="walk-1"
))
assert again["id"] == sent["id"], (again, sent)
assert "0.5" in refused(403, bot.agents.submit_transaction(signer, chain="local", to=recipient, value="0.6"))
refused(403, bot.agents.submit_transaction(signer, chain="local", to="0x" + "11" * 20, value="0.1"))
for _ in range(100):
    seen = done(bot.agents.get_transaction(signer, sent["id"]))
    if seen["status"] == "confirmed":
        break
    time.sleep(0.1)
assert seen["status"] == "confirmed", seen
sent_ones = done(bot.agents.list_transactions(signer))["transactions"]
assert [as_documented(types.TransactionResponse, t).id for t in sent_ones] == [sent["id"]]
assert as_documented(types.ChainResponse, done(ada.chains.get("local"))).chain_id == 31337
assert any(c["name"] == "ethereum" for c in done(ada.chains.list())["chains"])

# A new key ends the old one; a deleted agent, everything of it.
new_key = done(ada.agents.rotate_key(signer))["api_key"]
locked_out(base, signer_key)
assert done(create_client(base_url=base, api_key=new_key).agents.me())["id"] == signer
done(ada.agents.delete(signer))
locked_out(base, new_key)
done(ada.secrets.delete(vault, "api/token"))
refused(410, ada.secrets.get(vault, "api/token"))

done(ada.auth.revoke_token())
refused(401, ada.vaults.list())
print("the walk is done")

"""Rules of ours for what nodes are told, and for the stores, their backups and the logs."""

import re

from tests.support.cloudformation import FILES, FOLDER, load
from tests.support.deployment import NODES, environment_of, node_container, of_type, user_data_of
from trinity.config import load_config
from trinity.environment import ENVIRONMENT, SECRETS


def test_what_a_container_is_told_are_settings_that_a_node_accepts(copy):
    """Each name is one of trinity/environment.py, secrets come as secrets, and the node takes it all."""
    for node in NODES:
        container = node_container(copy, node)
        secrets = {entry["Name"] for entry in container["Secrets"]}
        environment = environment_of(container)
        assert environment.keys() | secrets <= ENVIRONMENT.keys()
        assert not environment.keys() & set(SECRETS)
        assert {"DATABASE_URL", "CACHE_URL", "ADMIN_KEY"} <= secrets <= set(SECRETS)
        config = load_config(environment)
        assert config.node.server_type == environment["SERVER_TYPE"]


def test_no_secret_stands_in_a_template(whole):
    """Secrets are made by the secret store, and referred to."""
    for _, secret in of_type(whole, "SecretsManager::Secret"):
        text = secret.get("SecretString", "")
        assert not text or "{{resolve:secretsmanager:<Stores." in text
    for file in FILES:
        for name, parameter in load(file).get("Parameters", {}).items():
            assert (
                not re.search("password|url$", name, re.IGNORECASE)
                or name in ("DatabaseUrl", "CacheUrl")
                or parameter["NoEcho"]
            )


def test_stores_are_spoken_to_over_tls_alone_and_by_their_names(whole):
    """Certificates are checked, with the authorities that the machine fetches."""
    stores = whole["Stores"]
    assert "sslmode=verify-full" in stores["DatabaseUrl"]["Properties"]["SecretString"]
    assert stores["DatabaseSettings"]["Properties"]["Parameters"]["rds.force_ssl"] == "1"
    assert stores["CacheUrl"]["Properties"]["SecretString"].startswith("valkeys://")
    cache = stores["Cache"]["Properties"]
    assert (cache["TransitEncryptionEnabled"], cache["TransitEncryptionMode"]) == (True, "required")
    certificate = re.search("sslrootcert=([^&]+)", stores["DatabaseUrl"]["Properties"]["SecretString"])
    assert certificate is not None
    for node in NODES:
        assert f"-o {certificate[1]}" in user_data_of(whole, node)


def test_the_cache_user_has_the_rights_of_deploy_users_acl(whole):
    """The list of rights stands twice, in two forms: it is one."""
    (line,) = [
        line for line in (FOLDER.parent / "users.acl").read_text().splitlines() if line.startswith("user trinity")
    ]
    rights = {word for word in line.split()[3:] if not word.startswith("#")}
    assert set(whole["Stores"]["CacheUser"]["Properties"]["AccessString"].split()) - {"on"} == rights


def test_the_database_is_restorable_to_any_second_of_seven_days_and_grows_from_2_to_18(whole):
    """By Aurora's own point-in-time recovery; a deleted one leaves a snapshot."""
    database = whole["Stores"]["Database"]
    assert database["Properties"]["BackupRetentionPeriod"] == 7
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    capacity = database["Properties"]["ServerlessV2ScalingConfiguration"]
    assert {key: float(value) for key, value in capacity.items()} == {"MinCapacity": 2, "MaxCapacity": 18}


def test_the_cache_refuses_when_it_is_full_and_keeps_nothing(whole):
    """An index never names entries that were thrown away, and an empty start is an ordinary one."""
    assert whole["Stores"]["CacheSettings"]["Properties"]["Properties"] == {"maxmemory-policy": "noeviction"}
    assert whole["Stores"]["Cache"]["Properties"]["SnapshotRetentionLimit"] == 0


def test_database_and_disks_are_kept_daily_for_seven_days_and_tried_weekly(whole):
    """The plan chooses the disks by a tag that each disk has."""
    backups = whole["Backups"]
    (rule,) = backups["Plan"]["Properties"]["BackupPlan"]["BackupPlanRule"]
    assert rule["ScheduleExpression"] == "cron(0 4 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 7}
    assert backups["Drill"]["Properties"]["ScheduleExpression"] == "cron(0 8 ? * SUN *)"
    (tag,) = backups["DiskSelection"]["Properties"]["BackupSelection"]["ListOfTags"]
    for node in NODES:
        tags = {entry["Key"]: entry["Value"] for entry in whole[f"{node}Host"]["Disk"]["Properties"]["Tags"]}
        assert tags[tag["ConditionKey"]] == tag["ConditionValue"]


def test_logs_are_kept_for_30_days_and_no_group_is_made_by_others(copy):
    """Aurora would make its group itself, and keep it for ever."""
    groups = {group["LogGroupName"]: group for _, group in of_type(copy, "Logs::LogGroup")}
    assert all(group["RetentionInDays"] == 30 and group["KmsKeyId"] for group in groups.values())
    name = copy["Stores"]["Database"]["Properties"]["DBClusterIdentifier"]
    exported = copy["Stores"]["Database"]["Properties"]["EnableCloudwatchLogsExports"]
    assert {f"/aws/rds/cluster/{name}/{kind}" for kind in exported} <= groups.keys()

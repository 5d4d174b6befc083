"""Rights: the engine's one user has those that `--grants` names, and no others. It is configured as the server's own
config.xml is, so that system tables want a grant too."""

import pathlib
import tempfile
from xml.sax.saxutils import escape

CONFIG = """<clickhouse>
  <users_config>{users}</users_config>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <access_control_improvements>
    <users_without_row_policies_can_read_rows>true</users_without_row_policies_can_read_rows>
    <on_cluster_queries_require_cluster_grant>true</on_cluster_queries_require_cluster_grant>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
    <settings_constraints_replace_previous>true</settings_constraints_replace_previous>
    <table_engines_require_grant>false</table_engines_require_grant>
  </access_control_improvements>
</clickhouse>
"""
USERS = """<clickhouse>
  <profiles><default/></profiles><quotas><default/></quotas>
  <users><default>
    <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants>{grants}</grants>
  </default></users>
</clickhouse>
"""


def limited(directory, grants):
    """What to connect to for a user with these grants alone."""
    into = pathlib.Path(tempfile.mkdtemp(prefix="xray-clickhouse-rights-"))
    config, users = into / "config.xml", into / "users.xml"
    # Whom they are for is not said there.
    each = [grant.strip().rpartition(" TO ")[0] for grant in grants.split(";") if grant.strip()]
    users.write_text(USERS.format(grants="".join(f"<query>{escape(grant)}</query>" for grant in each)))
    config.write_text(CONFIG.format(users=users))
    return f"{directory}?config-file={config}"

-- name: server
SELECT
    current_setting('server_version_num')::integer / 10000,
    has_schema_privilege(current_schema(), 'CREATE') AND NOT pg_is_in_recovery();

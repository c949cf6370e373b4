-- Who changed what of who may ask: a row for each account, plan, key or block that a command or the page changed.

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,                     -- a login's name, `admin` for ADMIN_KEY, a user of the machine
    via text NOT NULL CHECK (via IN ('command', 'page', 'api')),
    address inet,                            -- null: typed on a machine
    action text NOT NULL,                    -- as the command line has it: keys rotate
    kind text NOT NULL,                      -- account, plan, key, block
    name text NOT NULL,                      -- which one: its name, number or network
    before jsonb,                            -- what was changed, as it was; null for what is new
    after jsonb                              -- as it is now; null for what is gone
);
CREATE INDEX audit_log_time ON audit_log (time);

-- A row as people read it: names in the place of numbers, and never what a secret could be guessed by.
CREATE FUNCTION audited_fields(fields jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT (fields - '{id,digest,changed_at,account_id,plan_id}'::text[])
        || CASE WHEN fields ? 'account_id' THEN jsonb_build_object(
            'account', (SELECT name FROM accounts WHERE id = (fields ->> 'account_id')::integer)) ELSE '{}' END
        || CASE WHEN fields ? 'plan_id' THEN jsonb_build_object(
            'plan', (SELECT name FROM plans WHERE id = (fields ->> 'plan_id')::integer)) ELSE '{}' END
$$;

-- Of what is new or gone all that it has, of what changed the fields that did. Its arguments: the kind, and the column
-- that names one.
CREATE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_fields jsonb := CASE WHEN TG_OP <> 'INSERT' THEN jsonb_strip_nulls(audited_fields(to_jsonb(OLD))) END;
    new_fields jsonb := CASE WHEN TG_OP <> 'DELETE' THEN jsonb_strip_nulls(audited_fields(to_jsonb(NEW))) END;
    changed text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(field) INTO changed FROM jsonb_object_keys(old_fields || new_fields) AS field
        WHERE old_fields -> field IS DISTINCT FROM new_fields -> field;
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
        old_fields := (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(old_fields)
            WHERE key = ANY (changed));
        new_fields := (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(new_fields)
            WHERE key = ANY (changed));
    END IF;
    INSERT INTO audit_log (actor, via, address, action, kind, name, before, after)
    VALUES (
        current_setting('trinity.actor'), current_setting('trinity.via'),
        nullif(current_setting('trinity.address'), '')::inet, current_setting('trinity.action'),
        TG_ARGV[0], to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END) ->> TG_ARGV[1], old_fields, new_fields
    );
    RETURN NULL;
END $$;

-- Whoever says who they are is written down; plain SQL says nothing, and a million keys by it cost nothing more.
CREATE TRIGGER accounts_audited AFTER INSERT OR UPDATE OR DELETE ON accounts
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('account', 'name');
CREATE TRIGGER plans_audited AFTER INSERT OR UPDATE OR DELETE ON plans
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('plan', 'name');
CREATE TRIGGER api_keys_audited AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('key', 'id');
CREATE TRIGGER blocks_audited AFTER INSERT OR UPDATE OR DELETE ON blocks
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('block', 'network');

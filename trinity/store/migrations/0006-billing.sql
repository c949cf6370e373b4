-- What customers pay and what they get for it, with the time since when: so the bill of a month that is over stays what it was.

-- A price holds from its day (UTC) until the next one of the plan begins.
CREATE TABLE plan_prices (
    plan_id smallint NOT NULL REFERENCES plans ON DELETE CASCADE,
    since date NOT NULL,
    price numeric NOT NULL CHECK (price >= 0 AND price < 1000000000 AND scale(price) <= 4),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (plan_id, since)
);

-- What a plan had for a quota, and each key for terms, since when. The database writes them itself, whoever changes a
-- plan or a key; a key's terms outlive the key, because its answers do.
CREATE TABLE plan_terms (
    plan_id smallint NOT NULL REFERENCES plans ON DELETE CASCADE,
    since timestamptz NOT NULL,
    monthly_quota bigint NOT NULL,
    PRIMARY KEY (plan_id, since)
);
CREATE TABLE key_terms (
    key_id integer NOT NULL,
    since timestamptz NOT NULL,
    account_id integer NOT NULL,
    plan_id smallint NOT NULL,
    monthly_quota bigint,                    -- the key's own; null: the plan's
    is_revoked boolean NOT NULL,
    PRIMARY KEY (key_id, since)
);
-- Of what was before, only the beginning is known.
INSERT INTO plan_terms SELECT id, '2000-01-01Z', monthly_quota FROM plans;
INSERT INTO key_terms SELECT id, created_at, account_id, plan_id, monthly_quota, false FROM api_keys;
INSERT INTO key_terms SELECT id, changed_at, account_id, plan_id, monthly_quota, true FROM api_keys
WHERE state = 'revoked' AND changed_at > created_at;

CREATE FUNCTION keep_plan_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plan_terms VALUES (NEW.id, now(), NEW.monthly_quota)
    ON CONFLICT (plan_id, since) DO UPDATE SET monthly_quota = excluded.monthly_quota;
    RETURN NULL;
END $$;
CREATE TRIGGER plans_made AFTER INSERT ON plans FOR EACH ROW EXECUTE FUNCTION keep_plan_terms();
CREATE TRIGGER plans_terms_changed AFTER UPDATE ON plans FOR EACH ROW
    WHEN (OLD.monthly_quota IS DISTINCT FROM NEW.monthly_quota) EXECUTE FUNCTION keep_plan_terms();

CREATE FUNCTION keep_key_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO key_terms VALUES (NEW.id, now(), NEW.account_id, NEW.plan_id, NEW.monthly_quota, NEW.state = 'revoked')
    ON CONFLICT (key_id, since) DO UPDATE SET
        plan_id = excluded.plan_id, monthly_quota = excluded.monthly_quota, is_revoked = excluded.is_revoked;
    RETURN NULL;
END $$;
CREATE TRIGGER api_keys_made AFTER INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION keep_key_terms();
CREATE TRIGGER api_keys_terms_changed AFTER UPDATE ON api_keys FOR EACH ROW
    WHEN ((OLD.plan_id, OLD.monthly_quota, OLD.state = 'revoked')
          IS DISTINCT FROM (NEW.plan_id, NEW.monthly_quota, NEW.state = 'revoked'))
    EXECUTE FUNCTION keep_key_terms();

-- Of the prices that were looked up, those that cost: of answers with a price. The one place that says so.
CREATE FUNCTION billable(lookups bigint, status smallint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN status = 200 THEN lookups ELSE 0 END
$$;

-- What a report's group is called: for programs, for people, and whose it is. The planner takes the function apart.
CREATE FUNCTION usage_group(group_by text, member integer, protocols text[])
RETURNS TABLE ("group" text, name text, account text) LANGUAGE sql STABLE AS $$
    SELECT CASE group_by WHEN 'all' THEN 'all'
                         WHEN 'asset' THEN coalesce((SELECT asset.name FROM assets AS asset WHERE asset.id = member), '')
                         WHEN 'protocol' THEN protocols[member + 1]
                         ELSE member::text END,
           CASE group_by WHEN 'account' THEN (SELECT found.name FROM accounts AS found WHERE found.id = member)
                         WHEN 'key' THEN (SELECT coalesce(nullif(key.name, ''), key.prefix) FROM api_keys AS key WHERE key.id = member)
                         END,
           CASE group_by WHEN 'account' THEN (SELECT found.name FROM accounts AS found WHERE found.id = member)
                         WHEN 'key' THEN (SELECT found.name FROM api_keys AS key JOIN accounts AS found ON found.id = key.account_id
                                          WHERE key.id = member)
                         END
$$;

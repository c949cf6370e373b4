-- Who gives way when a worker has more requests than it can answer in time: class 0 first, 3 last.
ALTER TABLE plans ADD COLUMN admission_class smallint NOT NULL DEFAULT 1 CHECK (admission_class BETWEEN 0 AND 3);
UPDATE plans SET admission_class = 0 WHERE name = 'free';
UPDATE plans SET admission_class = 2 WHERE name = 'standard';
UPDATE plans SET admission_class = 3 WHERE name IN ('pro', 'unlimited');

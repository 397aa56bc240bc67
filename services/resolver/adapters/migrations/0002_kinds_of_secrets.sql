ALTER TABLE variables RENAME TO secrets;
ALTER TABLE secrets ADD COLUMN kind text NOT NULL DEFAULT 'config_variable';
ALTER TABLE secrets ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE secrets DROP CONSTRAINT variables_pkey, ADD PRIMARY KEY (org, kind, name);

CREATE TABLE `attempts` (
	`session_id` text NOT NULL,
	`ordinal` integer NOT NULL,
	`tag` text NOT NULL,
	`state` text NOT NULL,
	`provider` text NOT NULL,
	`offer_id` text NOT NULL,
	`machine_id` text,
	`offer` text NOT NULL,
	`instance_id` text,
	`instance_state` text,
	`ssh` text NOT NULL,
	`host_key` text,
	`probe_public_key` text NOT NULL,
	`probe_secret_id` text NOT NULL,
	`price_micros_per_hour` integer NOT NULL,
	`cap_micros_per_hour` integer NOT NULL,
	`intent_at` integer NOT NULL,
	`create_deadline_at` integer NOT NULL,
	`accepted_at` integer,
	`running_at` integer,
	`first_seen_at` integer,
	`last_seen_at` integer,
	`absences` text NOT NULL,
	`destroy_requested_at` integer,
	`destroy_tries` integer NOT NULL,
	`destroy_answered_at` integer,
	`gone_accepted_at` integer,
	`gone_verified_at` integer,
	`tombstone_until` integer,
	`outcome` text,
	`error` text,
	`due_at` integer NOT NULL,
	`billing_sequence` integer NOT NULL,
	`billing_rate` integer,
	`billing_since` integer,
	PRIMARY KEY(`session_id`, `ordinal`),
	FOREIGN KEY (`session_id`) REFERENCES `sessions`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `attempts_tag` ON `attempts` (`tag`);--> statement-breakpoint
CREATE INDEX `attempts_state_due` ON `attempts` (`state`,`due_at`);--> statement-breakpoint
CREATE TABLE `claims` (
	`offer_id` text NOT NULL,
	`unit` integer NOT NULL,
	`session_id` text NOT NULL,
	`consumer_id` text NOT NULL,
	`claimed_at` integer NOT NULL,
	PRIMARY KEY(`offer_id`, `unit`)
);
--> statement-breakpoint
CREATE INDEX `claims_session` ON `claims` (`session_id`);--> statement-breakpoint
CREATE TABLE `controllers` (
	`name` text PRIMARY KEY NOT NULL,
	`last_started_at` integer NOT NULL,
	`last_duration_ms` integer NOT NULL,
	`last_success_at` integer,
	`consecutive_failures` integer NOT NULL,
	`last_error` text,
	`report` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `cost_segments` (
	`session_id` text NOT NULL,
	`ordinal` integer NOT NULL,
	`sequence` integer NOT NULL,
	`consumer_id` text NOT NULL,
	`provider` text NOT NULL,
	`gpu_type` text NOT NULL,
	`payer` text NOT NULL,
	`price_micros_per_hour` integer NOT NULL,
	`from_at` integer NOT NULL,
	`to_at` integer,
	PRIMARY KEY(`session_id`, `ordinal`, `sequence`),
	FOREIGN KEY (`session_id`) REFERENCES `sessions`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `cost_segments_from` ON `cost_segments` (`from_at`);--> statement-breakpoint
CREATE TABLE `events` (
	`session_id` text NOT NULL,
	`version` integer NOT NULL,
	`kind` text NOT NULL,
	`at` integer NOT NULL,
	`data` text NOT NULL,
	PRIMARY KEY(`session_id`, `version`),
	FOREIGN KEY (`session_id`) REFERENCES `sessions`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `idempotency` (
	`consumer_id` text NOT NULL,
	`key` text NOT NULL,
	`body_hash` text NOT NULL,
	`session_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	PRIMARY KEY(`consumer_id`, `key`),
	FOREIGN KEY (`session_id`) REFERENCES `sessions`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `idempotency_expiry` ON `idempotency` (`expires_at`);--> statement-breakpoint
CREATE INDEX `idempotency_session` ON `idempotency` (`session_id`);--> statement-breakpoint
CREATE TABLE `installation` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `observations` (
	`provider` text NOT NULL,
	`at` integer NOT NULL,
	`complete` integer NOT NULL,
	`suspect` integer NOT NULL,
	`count` integer NOT NULL,
	`detail` text NOT NULL,
	PRIMARY KEY(`provider`, `at`)
);
--> statement-breakpoint
CREATE TABLE `offer_failures` (
	`session_id` text NOT NULL,
	`ordinal` integer NOT NULL,
	`provider` text NOT NULL,
	`offer_id` text NOT NULL,
	`machine_id` text,
	`gpu_type` text NOT NULL,
	`kind` text NOT NULL,
	`reason` text NOT NULL,
	`at` integer NOT NULL,
	PRIMARY KEY(`session_id`, `ordinal`)
);
--> statement-breakpoint
CREATE INDEX `offer_failures_at` ON `offer_failures` (`at`);--> statement-breakpoint
CREATE TABLE `offer_snapshots` (
	`provider` text PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`observed_at` integer NOT NULL,
	`dropped` integer NOT NULL,
	`offers` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `secrets` (
	`id` text PRIMARY KEY NOT NULL,
	`session_id` text NOT NULL,
	`purpose` text NOT NULL,
	`kek_id` text NOT NULL,
	`wrapped_dek` text NOT NULL,
	`sealed` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer
);
--> statement-breakpoint
CREATE INDEX `secrets_session` ON `secrets` (`session_id`);--> statement-breakpoint
CREATE INDEX `secrets_expiry` ON `secrets` (`expires_at`);--> statement-breakpoint
CREATE TABLE `sessions` (
	`id` text PRIMARY KEY NOT NULL,
	`consumer_id` text NOT NULL,
	`name` text,
	`status` text NOT NULL,
	`desired` text NOT NULL,
	`reason` text,
	`error` text,
	`phase` text NOT NULL,
	`phase_entered_at` integer NOT NULL,
	`phase_deadline_at` integer,
	`due_at` integer NOT NULL,
	`version` integer NOT NULL,
	`workload_type` text NOT NULL,
	`request` text NOT NULL,
	`metadata` text NOT NULL,
	`warnings` text NOT NULL,
	`provider` text NOT NULL,
	`offer_id` text NOT NULL,
	`offer` text NOT NULL,
	`gpu_type` text NOT NULL,
	`gpu_count` integer NOT NULL,
	`vram_mib` integer NOT NULL,
	`disk_gb` integer NOT NULL,
	`price_micros_per_hour` integer NOT NULL,
	`ssh_host` text,
	`ssh_port` integer,
	`ssh_user` text,
	`ssh_host_key` text,
	`ssh_public_key` text NOT NULL,
	`key_secret_id` text,
	`reservation_minutes` integer NOT NULL,
	`idle_threshold_minutes` integer NOT NULL,
	`idle_since` integer,
	`idle_sampled_at` integer,
	`idle_warned_at` integer,
	`max_attempts` integer NOT NULL,
	`attempt_count` integer NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`hard_deadline_at` integer NOT NULL,
	`running_at` integer,
	`stop_requested_at` integer,
	`destroy_accepted_at` integer,
	`destroy_verified_at` integer,
	`stopped_at` integer,
	`settled_cost_micros` integer
);
--> statement-breakpoint
CREATE INDEX `sessions_status_due` ON `sessions` (`status`,`due_at`);--> statement-breakpoint
CREATE INDEX `sessions_consumer` ON `sessions` (`consumer_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `sessions_created` ON `sessions` (`created_at`);--> statement-breakpoint
CREATE INDEX `sessions_expiry` ON `sessions` (`desired`,`expires_at`);--> statement-breakpoint
CREATE INDEX `sessions_hard_deadline` ON `sessions` (`desired`,`hard_deadline_at`);--> statement-breakpoint
CREATE INDEX `sessions_retired` ON `sessions` (`phase`,`stopped_at`);--> statement-breakpoint
CREATE INDEX `sessions_unsettled` ON `sessions` (`status`) WHERE "sessions"."settled_cost_micros" is null;--> statement-breakpoint
CREATE TABLE `strays` (
	`provider` text NOT NULL,
	`instance_id` text NOT NULL,
	`tag` text NOT NULL,
	`first_seen_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`sightings` integer NOT NULL,
	`destroy_requested_at` integer,
	`gone_at` integer,
	PRIMARY KEY(`provider`, `instance_id`)
);

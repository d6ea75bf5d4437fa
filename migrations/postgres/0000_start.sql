CREATE TABLE "attempts" (
	"session_id" text NOT NULL,
	"ordinal" bigint NOT NULL,
	"tag" text NOT NULL,
	"state" text NOT NULL,
	"provider" text NOT NULL,
	"offer_id" text NOT NULL,
	"machine_id" text,
	"offer" jsonb NOT NULL,
	"instance_id" text,
	"instance_state" text,
	"ssh" jsonb NOT NULL,
	"host_key" text,
	"probe_public_key" text NOT NULL,
	"probe_secret_id" text NOT NULL,
	"price_micros_per_hour" bigint NOT NULL,
	"cap_micros_per_hour" bigint NOT NULL,
	"intent_at" bigint NOT NULL,
	"create_deadline_at" bigint NOT NULL,
	"accepted_at" bigint,
	"running_at" bigint,
	"first_seen_at" bigint,
	"last_seen_at" bigint,
	"absences" jsonb NOT NULL,
	"destroy_requested_at" bigint,
	"destroy_tries" bigint NOT NULL,
	"destroy_answered_at" bigint,
	"gone_accepted_at" bigint,
	"gone_verified_at" bigint,
	"tombstone_until" bigint,
	"outcome" text,
	"error" text,
	"due_at" bigint NOT NULL,
	"billing_sequence" bigint NOT NULL,
	"billing_rate" bigint,
	"billing_since" bigint,
	CONSTRAINT "attempts_session_id_ordinal_pk" PRIMARY KEY("session_id","ordinal")
);
--> statement-breakpoint
CREATE TABLE "claims" (
	"offer_id" text NOT NULL,
	"unit" bigint NOT NULL,
	"session_id" text NOT NULL,
	"consumer_id" text NOT NULL,
	"claimed_at" bigint NOT NULL,
	CONSTRAINT "claims_offer_id_unit_pk" PRIMARY KEY("offer_id","unit")
);
--> statement-breakpoint
CREATE TABLE "controllers" (
	"name" text PRIMARY KEY NOT NULL,
	"last_started_at" bigint NOT NULL,
	"last_duration_ms" bigint NOT NULL,
	"last_success_at" bigint,
	"consecutive_failures" bigint NOT NULL,
	"last_error" text,
	"report" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "cost_segments" (
	"session_id" text NOT NULL,
	"ordinal" bigint NOT NULL,
	"sequence" bigint NOT NULL,
	"consumer_id" text NOT NULL,
	"provider" text NOT NULL,
	"gpu_type" text NOT NULL,
	"payer" text NOT NULL,
	"price_micros_per_hour" bigint NOT NULL,
	"from_at" bigint NOT NULL,
	"to_at" bigint,
	CONSTRAINT "cost_segments_session_id_ordinal_sequence_pk" PRIMARY KEY("session_id","ordinal","sequence")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"session_id" text NOT NULL,
	"version" bigint NOT NULL,
	"kind" text NOT NULL,
	"at" bigint NOT NULL,
	"data" jsonb NOT NULL,
	CONSTRAINT "events_session_id_version_pk" PRIMARY KEY("session_id","version")
);
--> statement-breakpoint
CREATE TABLE "idempotency" (
	"consumer_id" text NOT NULL,
	"key" text NOT NULL,
	"body_hash" text NOT NULL,
	"session_id" text NOT NULL,
	"created_at" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	CONSTRAINT "idempotency_consumer_id_key_pk" PRIMARY KEY("consumer_id","key")
);
--> statement-breakpoint
CREATE TABLE "installation" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "observations" (
	"provider" text NOT NULL,
	"at" bigint NOT NULL,
	"complete" boolean NOT NULL,
	"suspect" boolean NOT NULL,
	"count" bigint NOT NULL,
	"detail" text NOT NULL,
	CONSTRAINT "observations_provider_at_pk" PRIMARY KEY("provider","at")
);
--> statement-breakpoint
CREATE TABLE "offer_failures" (
	"session_id" text NOT NULL,
	"ordinal" bigint NOT NULL,
	"provider" text NOT NULL,
	"offer_id" text NOT NULL,
	"machine_id" text,
	"gpu_type" text NOT NULL,
	"kind" text NOT NULL,
	"reason" text NOT NULL,
	"at" bigint NOT NULL,
	CONSTRAINT "offer_failures_session_id_ordinal_pk" PRIMARY KEY("session_id","ordinal")
);
--> statement-breakpoint
CREATE TABLE "offer_snapshots" (
	"provider" text PRIMARY KEY NOT NULL,
	"version" bigint NOT NULL,
	"observed_at" bigint NOT NULL,
	"dropped" bigint NOT NULL,
	"offers" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"id" text PRIMARY KEY NOT NULL,
	"session_id" text NOT NULL,
	"purpose" text NOT NULL,
	"kek_id" text NOT NULL,
	"wrapped_dek" text NOT NULL,
	"sealed" text NOT NULL,
	"created_at" bigint NOT NULL,
	"expires_at" bigint
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"consumer_id" text NOT NULL,
	"name" text,
	"status" text NOT NULL,
	"desired" text NOT NULL,
	"reason" text,
	"error" text,
	"phase" text NOT NULL,
	"phase_entered_at" bigint NOT NULL,
	"phase_deadline_at" bigint,
	"due_at" bigint NOT NULL,
	"version" bigint NOT NULL,
	"workload_type" text NOT NULL,
	"request" jsonb NOT NULL,
	"metadata" jsonb NOT NULL,
	"warnings" jsonb NOT NULL,
	"provider" text NOT NULL,
	"offer_id" text NOT NULL,
	"offer" jsonb NOT NULL,
	"gpu_type" text NOT NULL,
	"gpu_count" bigint NOT NULL,
	"vram_mib" bigint NOT NULL,
	"disk_gb" bigint NOT NULL,
	"price_micros_per_hour" bigint NOT NULL,
	"ssh_host" text,
	"ssh_port" bigint,
	"ssh_user" text,
	"ssh_host_key" text,
	"ssh_public_key" text NOT NULL,
	"key_secret_id" text,
	"reservation_minutes" bigint NOT NULL,
	"idle_threshold_minutes" bigint NOT NULL,
	"idle_since" bigint,
	"idle_sampled_at" bigint,
	"idle_warned_at" bigint,
	"max_attempts" bigint NOT NULL,
	"attempt_count" bigint NOT NULL,
	"created_at" bigint NOT NULL,
	"updated_at" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	"hard_deadline_at" bigint NOT NULL,
	"running_at" bigint,
	"stop_requested_at" bigint,
	"destroy_accepted_at" bigint,
	"destroy_verified_at" bigint,
	"stopped_at" bigint,
	"settled_cost_micros" bigint
);
--> statement-breakpoint
CREATE TABLE "strays" (
	"provider" text NOT NULL,
	"instance_id" text NOT NULL,
	"tag" text NOT NULL,
	"first_seen_at" bigint NOT NULL,
	"last_seen_at" bigint NOT NULL,
	"sightings" bigint NOT NULL,
	"destroy_requested_at" bigint,
	"gone_at" bigint,
	CONSTRAINT "strays_provider_instance_id_pk" PRIMARY KEY("provider","instance_id")
);
--> statement-breakpoint
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "public"."sessions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "cost_segments" ADD CONSTRAINT "cost_segments_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "public"."sessions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "public"."sessions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "idempotency" ADD CONSTRAINT "idempotency_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "public"."sessions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "attempts_tag" ON "attempts" USING btree ("tag");--> statement-breakpoint
CREATE INDEX "attempts_state_due" ON "attempts" USING btree ("state","due_at");--> statement-breakpoint
CREATE INDEX "claims_session" ON "claims" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "cost_segments_from" ON "cost_segments" USING btree ("from_at");--> statement-breakpoint
CREATE INDEX "idempotency_expiry" ON "idempotency" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "idempotency_session" ON "idempotency" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "offer_failures_at" ON "offer_failures" USING btree ("at");--> statement-breakpoint
CREATE INDEX "secrets_session" ON "secrets" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "secrets_expiry" ON "secrets" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "sessions_status_due" ON "sessions" USING btree ("status","due_at");--> statement-breakpoint
CREATE INDEX "sessions_consumer" ON "sessions" USING btree ("consumer_id","created_at");--> statement-breakpoint
CREATE INDEX "sessions_created" ON "sessions" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "sessions_expiry" ON "sessions" USING btree ("desired","expires_at");--> statement-breakpoint
CREATE INDEX "sessions_hard_deadline" ON "sessions" USING btree ("desired","hard_deadline_at");--> statement-breakpoint
CREATE INDEX "sessions_retired" ON "sessions" USING btree ("phase","stopped_at");--> statement-breakpoint
CREATE INDEX "sessions_unsettled" ON "sessions" USING btree ("status") WHERE "sessions"."settled_cost_micros" is null;
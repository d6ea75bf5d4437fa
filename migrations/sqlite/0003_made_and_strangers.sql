ALTER TABLE `attempts` ADD `instance_made_at` integer;--> statement-breakpoint
ALTER TABLE `observations` ADD `strangers` integer DEFAULT 0 NOT NULL;
#!/bin/sh
# Runs once, on an empty data folder: the database, its roles, and a login for each of the two that come here.
set -eu
psql --set=ON_ERROR_STOP=1 --username=postgres --command='create database tidegate'
psql --set=ON_ERROR_STOP=1 --username=postgres --dbname=tidegate --file=/etc/tidegate-roles.sql
psql --set=ON_ERROR_STOP=1 --username=postgres --dbname=tidegate \
  --set=cloud="$(cat /etc/tidegate/cloud.password)" --set=migrator="$(cat /etc/tidegate/migrator.password)" <<'SQL'
create role tidegate_cloud login password :'cloud' in role tidegate_writer;
create role tidegate_migrator login password :'migrator' in role tidegate_owner;
grant connect on database tidegate to tidegate_cloud, tidegate_migrator;
SQL

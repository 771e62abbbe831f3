"""A backend for Label Studio: it answers tasks with brush or polygon labels. Needs the extra `label-studio`.

Sources of the contract: `label_studio/ml/api_connector.py` and `ml/models.py` of Label Studio 1.23.
"""
